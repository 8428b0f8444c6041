"""EC2: the behaviours, one concept a module; `dispatch` lists them."""
