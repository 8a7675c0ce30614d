"""How an `Attribution` is written to files, put into words and acted upon."""
