"""Uploaded files on their way from an archive into a store."""
