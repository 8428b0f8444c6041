"""S3: the behaviours, one concept a module; `dispatch` lists them."""
