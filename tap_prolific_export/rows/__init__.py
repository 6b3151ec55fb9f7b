"""Parsed lines and metadata -> the rows of the six tables; pure."""
