"""`make load`: many simulated people against a system that runs, and what they met."""
