"""Recipes: typed settings, recipe files, and the recipes that ship with stap."""
