"""`din-train explain`: how much each behaviour weighs in one score."""
