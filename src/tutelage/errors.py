"""Everything that can go wrong for a reason a user can act on.

    TutelageError                  one sentence: where, what was found, what was expected, what to do
    ├── ConfigError                a word or a recipe says something that cannot be run
    ├── DataError                  a file of rows is missing, broken, or lacks what a stage needs
    ├── StoreError                 an artifact is missing, unfinished, in use, or cannot be written
    ├── ModelError                 a model folder or checkpoint cannot be used as it is
    ├── TrainingError              training cannot go on (a loss that is not a number, nothing to train on)
    ├── CriticError                too many of a critic's replies could not be read as verdicts
    ├── StudyError                 a study's folder or arms are not what they have to be
    ├── MissingExtraError          an optional dependency is not installed
    └── ChatError                  talking to a model over an API failed
        ├── AuthenticationError    401, 403: the key is missing, wrong or not allowed
        ├── UnknownModelError      404: the server does not know the model or the path
        ├── RequestError           400, 413, 422: the server refuses what was asked
        ├── QuotaError             429 that waiting cannot cure: no credit left
        ├── BudgetError            the next reply could cost more than what `budget.*` leaves
        └── UnavailableError       429, 5xx, time-outs and dropped connections that outlasted every retry

The command line prints any of these as one message and exits with status 2; a traceback is a bug of ours.
"""


class TutelageError(Exception):
    """Base of every error that a user can act on; its text is the whole message."""


class ConfigError(TutelageError):
    """A word, preset or recipe cannot be turned into a valid configuration."""


class DataError(TutelageError):
    """A file of rows is missing, broken, or lacks what a stage needs."""


class StoreError(TutelageError):
    """An artifact is missing, unfinished, in use by another process, or cannot be written."""


class ModelError(TutelageError):
    """A model folder, Hub name or checkpoint cannot be used as it is."""


class TrainingError(TutelageError):
    """Training cannot start or go on."""


class CriticError(TutelageError):
    """Too many of a critic's replies could not be read as verdicts."""


class StudyError(TutelageError):
    """A study's folder is of another version or another study, or some of its arms are unfinished."""


class MissingExtraError(TutelageError):
    """An optional dependency is not installed."""


class ChatError(TutelageError):
    """Talking to a model over an API failed."""


class AuthenticationError(ChatError):
    """The key is missing, wrong, or not allowed to use this model (HTTP 401, 403)."""


class UnknownModelError(ChatError):
    """The server does not know the model or the path (HTTP 404)."""


class RequestError(ChatError):
    """The server refuses the request itself (HTTP 400, 413, 422)."""


class QuotaError(ChatError):
    """The account has no credit or quota left; waiting does not help."""


class BudgetError(ChatError):
    """The next reply could cost more than what is left of the budget; a larger one goes on from here."""


class UnavailableError(ChatError):
    """Rate limits, server errors, time-outs or dropped connections outlasted every retry."""
