"""What does it say?

The store becomes one tidy table (`table`) of measures (`measures`, `overlap`); declared claims (`claims`) are judged by it
(`statistics`), beside the paper's own numbers (`paper`); what is published is small text (`publish`, `results`, `diff`).
"""
