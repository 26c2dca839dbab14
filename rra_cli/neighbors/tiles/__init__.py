"""The exact search on a processor: tiles of rounded products, lists of candidates, direct differences."""
