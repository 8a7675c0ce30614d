"""Titles that are markup, code or strange letters elsewhere."""

HOSTILE = (
    "<script>window.hacked = 1</script>",
    "</script><img src=x onerror='window.hacked = 2'>",
    "{{ 7 * 7 }} {% raw %} $x^2$",
    '\u2028 \u202e <b>bold</b> &amp; "quoted" \'',
)
