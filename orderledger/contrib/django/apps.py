"""The Django application; it has no models, since the book's tables are not Django's."""

from django.apps import AppConfig


class OrderLedgerConfig(AppConfig):  # type: ignore[misc]  # Django has no types
    """Makes ``manage.py orderledger`` known."""

    name = "orderledger.contrib.django"
    label = "orderledger"
    verbose_name = "orderledger"
