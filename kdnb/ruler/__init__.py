"""How much does it matter how one measures?"""
