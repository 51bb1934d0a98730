"""What schemathesis cannot know by itself: how a token is sent."""

import schemathesis


@schemathesis.serializer("application/jose")
def jose(context, value):
    """A token is its own text; anything else is sent as JSON, to be refused."""
    if isinstance(value, (str, bytes)):
        return value
    import json

    return json.dumps(value).encode()
