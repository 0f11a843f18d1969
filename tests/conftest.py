"""What holds for all tests: how long an example takes is never a reason to fail, since machines may be busy."""

from hypothesis import settings

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
