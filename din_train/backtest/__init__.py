"""Look back: what each day would have been like with a model that is refreshed, or not."""
