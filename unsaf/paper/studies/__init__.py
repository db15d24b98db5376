"""The studies of the paper, one module each; whoever opens one finds it here."""
