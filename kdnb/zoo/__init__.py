"""Which other networks are there?"""
