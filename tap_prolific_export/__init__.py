"""Singer tap for Prolific data-collection exports.

The modules from ``errors`` to ``records`` know nothing of Singer and can be used as a library;
``streams`` and ``tap`` turn what they yield into Singer messages.
"""
