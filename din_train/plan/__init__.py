"""`din-train plan`: what a run will take, before it takes it."""
