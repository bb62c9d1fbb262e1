from django.db import migrations

REASON = "Taken over from before the log of promotions was kept."


def name_heads(apps, schema_editor):
    """The heads of each model that were ever in use, oldest first, become its log; the last two its aliases."""
    HeadVersion = apps.get_model("inference", "HeadVersion")
    untrained = HeadVersion.objects.get(number=0)
    last = {}
    for head in HeadVersion.objects.filter(number__gt=0, activated_at__isnull=False).order_by("activated_at", "pk"):
        before = last.get((head.base_model, head.base_revision), untrained)
        last[head.base_model, head.base_revision] = head
        log(apps, head, before)
        if head.in_use:
            name(apps, head, current=head, previous=before)


def name(apps, head, **named):
    of = {"base_model": head.base_model, "base_revision": head.base_revision}
    for alias, chosen in named.items():
        apps.get_model("inference", "HeadAlias").objects.create(name=alias, head=chosen, **of)


def log(apps, head, before):
    apps.get_model("inference", "Promotion").objects.create(
        kind="promote",
        base_model=head.base_model,
        base_revision=head.base_revision,
        from_head=before,
        to_head=head,
        by="unknown",
        reason=REASON,
        at=head.activated_at,
    )


class Migration(migrations.Migration):
    dependencies = [("inference", "0003_aliases_and_promotions")]
    operations = [migrations.RunPython(name_heads, migrations.RunPython.noop)]
