"The paper's study: what it printed, what of that is consistent, and what a rerun measures."
