"""What `scripts/bench` and `scripts/chaos` are made of; nothing in the product imports it."""
