"""Stores: labelled results on disk, and what is made of them."""
