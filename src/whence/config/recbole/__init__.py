"""RecBole's configuration files, with RecBole's meaning of every key.

The modules name, translate and explain the keys of RecBole 1.2.1.
"""
