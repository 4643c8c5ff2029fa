"""What leaves the house, and how does it prove what it is?"""
