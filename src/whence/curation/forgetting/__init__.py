"""A model that loses what it learned from some rows, without training afresh."""

from whence.curation.forgetting.audit import Audit
from whence.curation.forgetting.certificate import Certificate
from whence.curation.forgetting.forgetting import Forgotten, forget

__all__ = ["Audit", "Certificate", "Forgotten", "forget"]
