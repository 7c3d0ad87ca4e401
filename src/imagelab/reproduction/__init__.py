"""Every network of the reference trained with a recipe, and what the reference states of it beside what came out."""
