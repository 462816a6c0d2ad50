"""From a command line to a started verb: what is missing is installed, Spark is found, told, begun.

Of the standard library alone: it runs before anything is installed.
"""
