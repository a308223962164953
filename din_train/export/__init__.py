"""`din-train export`: a run becomes an artefact that servers take."""
