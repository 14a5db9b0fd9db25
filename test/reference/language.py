"""The little language of networks, losses, optimizers and schedules, read
independently of the engine's parser: text to (label, name, arguments)."""
import re

TOKEN = re.compile(r"\s*(->|[A-Za-z_][A-Za-z_0-9]*|[-+]?(?:\d+\.?\d*|\.\d+)"
                   r"(?:[eE][-+]?\d+)?|.)")


def plain(name):
    return name.replace("_", "").lower()


class Item:
    """One item: positional values in args, named ones in named."""

    def __init__(self, label, name):
        self.label, self.name = label, plain(name)
        self.args, self.named = [], {}

    def __call__(self, number, name, initial):
        """The value of an option by its position or name, or its default."""
        if number is not None and number < len(self.args):
            return self.args[number]
        return self.named.get(plain(name), initial)


class Reader:
    def __init__(self, text):
        self.tokens = [t for t in TOKEN.findall(text) if t.strip()]

    def peek(self, ahead=0):
        return self.tokens[ahead] if len(self.tokens) > ahead else ""

    def next(self):
        return self.tokens.pop(0)

    def accept(self, token):
        if self.peek() == token:
            return self.next()
        return None

    def item(self):
        label = None
        if self.peek(1) == ":":
            label = self.next()
            self.next()
        item = Item(label, self.next())
        if self.accept("("):
            while not self.accept(")"):
                name = None
                if self.peek(1) == "=":
                    name = plain(self.next())
                    self.next()
                if name is None:
                    item.args.append(self.value())
                else:
                    item.named[name] = self.value()
                self.accept(",")
        return item

    def value(self):
        token = self.peek()
        if token in ("true", "false"):
            return self.next() == "true"
        if token in ("[", "("):
            close = "]" if self.next() == "[" else ")"
            values = []
            while not self.accept(close):
                values.append(float(self.next()))
                self.accept(",")
            return values
        if re.match(r"[A-Za-z_]", token):
            return self.item()
        return float(self.next())

    def items(self):
        found = []
        while self.tokens:
            if self.peek() in (",", ";", "->"):
                self.next()
            else:
                found.append(self.item())
        return found


def network(text):
    return Reader(text).items()


def item(text):
    return Reader(text).item()
