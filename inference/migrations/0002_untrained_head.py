from django.db import migrations
from django.utils import timezone


def add_untrained_head(apps, schema_editor):
    now = timezone.now()
    apps.get_model("inference", "HeadVersion").objects.create(number=0, in_use=True, activated_at=now)


class Migration(migrations.Migration):
    dependencies = [("inference", "0001_initial")]
    operations = [migrations.RunPython(add_untrained_head, migrations.RunPython.noop)]
