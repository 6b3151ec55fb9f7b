"""Pure functions that turn parsed lines and metadata into the rows of the six tables."""
