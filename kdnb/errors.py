"""The errors a user can cause or meet. Each message names the value, what was expected, and the fix."""


class KdnbError(Exception):
    """Base of all errors that the command line prints as one line."""


class DataError(KdnbError):
    """A data set that is missing, damaged or not what its name says."""


class ProfileError(KdnbError):
    """A profile or an option that cannot be understood."""


class StoreError(KdnbError):
    """A store entry that cannot be used."""


class DamageError(StoreError):
    """A file of the store that is missing or not what was written, and never one that merely cannot be read."""


class DivergedError(KdnbError):
    """A training whose loss is no longer a finite number."""


class IncompleteError(KdnbError):
    """A study that does not hold all of its runs."""


class DamagedResultsError(KdnbError):
    """Published results of which a part is missing, or is not what was published."""


def in_one_line(error: Exception) -> str:
    """What an error of the operating system or of an encoding says, with the path that it is about."""
    if isinstance(error, OSError):
        paths = " and ".join(str(each) for each in (error.filename, error.filename2) if each is not None)
        reason = error.strerror or str(error) or type(error).__name__
        return f"{paths}: {reason}" if paths else reason
    if isinstance(error, MemoryError):
        return "the memory is used up; take fewer workers, a smaller batch_size or fewer maps (observe.maps)"
    return " ".join(str(error).split()) or type(error).__name__
