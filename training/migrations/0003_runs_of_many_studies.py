from django.db import migrations


def move_studies(apps, schema_editor):
    for run in apps.get_model("training", "TrainingRun").objects.all():
        run.studies.add(run.study_id)


def add_policy(apps, schema_editor):
    apps.get_model("training", "Policy").objects.get_or_create(pk=1)


class Migration(migrations.Migration):
    dependencies = [("training", "0002_attempts_and_policy")]
    operations = [
        migrations.RunPython(move_studies, migrations.RunPython.noop),
        migrations.RunPython(add_policy, migrations.RunPython.noop),
    ]
