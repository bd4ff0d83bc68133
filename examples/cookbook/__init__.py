"""Three days of a support bot in a store, and the questions that the cookbook asks it."""
