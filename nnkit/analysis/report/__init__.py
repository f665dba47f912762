"""A run or a sweep on one page that can be sent to somebody: what was trained, how well it does, how to do it again."""
