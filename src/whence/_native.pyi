# Compiled from src/native: what each kernel takes and returns stands there, above it.
from typing import Any

def __getattr__(name: str) -> Any: ...
