"""The errors a user can cause or meet. Each message names the value, what was expected, and the mend."""


class KdnbError(Exception):
    """Base of all errors that the command line prints as one line."""


class DataError(KdnbError):
    """A data set that is missing, damaged or not what its name says."""


class ProfileError(KdnbError):
    """A profile or an option that cannot be understood."""


class StoreError(KdnbError):
    """A store entry that cannot be used."""


class DivergedError(KdnbError):
    """A training whose loss is no longer a finite number."""


class IncompleteError(KdnbError):
    """A study that does not hold all of its runs."""
