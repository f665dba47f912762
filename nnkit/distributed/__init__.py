"""Processes that train one model together: who they are, how they join, agree, and learn of each other's end."""
