"""manual.py BALLOT MAN COMPLETION: write the man page and the bash completion of the program BALLOT
from what it says about itself: its --help, that of each command, and the option table of a job.
"""
import json
import os
import re
import subprocess
import sys

OPTION = re.compile(r"^ +(?:(-\S), +)?(--[\w-]+)(?:=(\S+))?(?: +(\S.*))?$")
FILES = {"JOB.ini", "OUT.h5", "DIR", "FOLDER", "FILE"}  # what arguments of options are files


class Program:
    def __init__(self, path):
        self.path = path
        self.version = self.ask("--version").split()[-1]
        self.help = self.ask("--help")
        self.summary = re.match(r"ballot \S+: (.*)", self.help).group(1)
        self.commands = [Command(name, summary, self.ask(name, "--help"))
                         for name, summary in re.findall(r"^  (\w+) +(\S.*)$", self.help, re.M)]
        self.job = json.loads(self.ask("config", "--json"))

    def ask(self, *arguments):
        """Lines of any length, one for each option; no search for networks."""
        quiet = dict(os.environ, ARGP_HELP_FMT="rmargin=9999,no-dup-args-note",
                     OMPI_MCA_ess_singleton_isolated="1", OMPI_MCA_pml="ob1", OMPI_MCA_btl="self",
                     OMPI_MCA_osc="^ucx", LC_ALL="C")
        return subprocess.run([self.path, *arguments], env=quiet, check=True, text=True,
                              stdout=subprocess.PIPE).stdout

    def exit_codes(self):
        words = re.search(r"^exit codes:(.*?)(?:\n\n|\Z)", self.help, re.M | re.S).group(1)
        return re.findall(r"(\d+) ([^\d].*?)(?:,(?= \d)|$)", " ".join(words.split()))


class Command:
    """A command as its --help describes it."""

    def __init__(self, name, summary, text):
        self.name, self.summary = name, summary
        self.usage, self.about, self.options, after = [], [], [], []
        for line in text.splitlines():
            usage = re.match(r"(?:Usage:|  or:) +(ballot .*)", line)
            option = OPTION.match(line)
            if usage:
                self.usage.append(usage.group(1))
            elif option:
                self.options.append([group or "" for group in option.groups()])
            elif line.strip():
                (after if self.options else self.about).append(line.strip())
        self.notes = after
        assert self.usage and self.about and self.options, text


def roff(text):
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace('"', "\\(dq")
    return re.sub(r"^\.", r"\\&.", text)


def man_of_command(command):
    yield f".SS {command.name}"
    for usage in command.usage:
        yield f".B {roff(usage)}"
        yield ".br"
    for line in command.about:
        yield ".PP"
        yield roff(line)
    for short, long, argument, text in command.options:
        names = ", ".join(f"\\fB{roff(name)}\\fR" for name in (short, long) if name)
        yield ".TP"
        yield f"{names}=\\fI{roff(argument)}\\fR" if argument else names
        yield roff(text)
    for line in command.notes:
        yield ".PP"
        yield roff(line)


def man(program):
    yield f'.TH BALLOT 1 "" "ballot {program.version}" "User Commands"'
    yield ".SH NAME"
    yield f"ballot \\- {roff(program.summary)}"
    yield ".SH SYNOPSIS"
    yield ".B ballot"
    yield ".I COMMAND"
    yield "[\\fIOPTION\\fR...]"
    yield ".br"
    yield ".B mpirun \\-n"
    yield ".I RANKS"
    yield ".B ballot"
    yield ".I COMMAND"
    yield "[\\fIOPTION\\fR...]"
    yield ".SH COMMANDS"
    for command in program.commands:
        yield from man_of_command(command)
    yield ".SH JOB OPTIONS"
    yield ("A job file has sections in brackets and a line KEY = VALUE for each option that differs "
           "from its default. The option \\-s sets one over it.")
    section = None
    for name, option in program.job.items():
        if name.split(".")[0] != section:
            section = name.split(".")[0]
            yield f".SS [{section}]"
        yield ".TP"
        yield f".B {roff(name)}"
        yield roff(option["help"])
        yield ".br"
        yield f"{roff(option['values'])} (default: {roff(option['value'] or 'none')})"
    yield ".SH EXIT STATUS"
    for code, words in program.exit_codes():
        yield ".TP"
        yield f".B {code}"
        yield roff(words)
    yield ".SH SEE ALSO"
    yield ".BR mpirun (1)"


COMPLETION = r"""# bash completion of ballot @VERSION@
_ballot()
{
    local cur=${COMP_WORDS[COMP_CWORD]} at=$((COMP_CWORD - 1)) command= takes= words= suffix= i
    local -A options=(
@OPTIONS@
    )
    local -A arguments=( # of options: words, FILE, KEY, or NONE, which cannot be guessed
@ARGUMENTS@
    )
    local -A values=( # of job options
@VALUES@
    )
    for ((i = COMP_CWORD - 1; i > 0; --i)); do
        [[ -n ${options[${COMP_WORDS[i]}]-} ]] && command=${COMP_WORDS[i]}
    done
    # Bash cuts words at "=": what is left of it decides.
    if [[ $cur == "=" ]]; then
        cur=
    elif [[ ${COMP_WORDS[at]} == "=" ]]; then
        at=$((at - 1))
    fi
    takes=${arguments[$command ${COMP_WORDS[at]}]-}
    [[ ${COMP_WORDS[at + 1]} == "=" ]] && takes=${values[${COMP_WORDS[at]}]-$takes}

    if [[ -z $command ]]; then
        words="${!options[*]} --help --version"
    elif [[ $takes == KEY ]]; then
        words=${!values[*]} suffix="="
        compopt -o nospace 2>/dev/null
    elif [[ -n $takes && $takes != FILE ]]; then
        words=${takes/NONE/}
    elif [[ -z $takes && $cur == -* ]]; then
        words=${options[$command]}
    else
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        return
    fi
    mapfile -t COMPREPLY < <(compgen -S "$suffix" -W "$words" -- "$cur")
}
complete -F _ballot ballot
"""


def takes(argument):
    """What can be offered for an option's argument: words, files, keys, or nothing."""
    if argument.startswith("SECTION."):
        return "KEY"
    return "FILE" if argument in FILES else argument.replace("|", " ") if "|" in argument else "NONE"


def completion(program):
    rows = {"OPTIONS": [], "ARGUMENTS": [], "VALUES": []}
    for command in program.commands:
        names = [name for option in command.options for name in option[:2] if name]
        rows["OPTIONS"].append(f'[{command.name}]="{" ".join(names)}"')
        for short, long, argument, _ in command.options:
            rows["ARGUMENTS"] += [f'["{command.name} {name}"]="{takes(argument)}"'
                                  for name in (short, long) if name and argument]
    for name, option in program.job.items():
        words = re.split(r" or |, (?:or )?", option["values"])
        known = all(re.fullmatch(r"[a-z0-9_-]+", word) for word in words)
        text = option["values"].startswith("text")
        rows["VALUES"].append(f'[{name}]="{" ".join(words) if known else "FILE" if text else "NONE"}"')
    script = COMPLETION.replace("@VERSION@", program.version)
    for name, lines in rows.items():
        script = script.replace(f"@{name}@", "\n".join(f"        {line}" for line in lines))
    return script


def main():
    if len(sys.argv) != 4:
        sys.exit("usage: manual.py BALLOT MAN COMPLETION")
    program = Program(os.path.abspath(sys.argv[1]))
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        file.write("\n".join(man(program)) + "\n")
    with open(sys.argv[3], "w", encoding="utf-8") as file:
        file.write(completion(program))


main()
