"""What tests share: one module for each kind of thing."""
