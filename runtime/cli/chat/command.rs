//! The commands of a conversation: lines that begin with a slash.

use std::path::PathBuf;

/// What a line of input asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// Nothing: the line is empty.
    Nothing,
    /// A message to the model.
    Message(String),
    Command(Command),
    /// A command that there is not, or that is not complete, and what to type.
    Wrong(String),
}

/// A command of the user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    Help,
    Exit,
    Clear,
    Undo,
    Regenerate,
    /// Sets the system message; None: shows it.
    System(Option<String>),
    Save(PathBuf),
    Load(PathBuf),
}

/// Names, value, what it does.
const COMMANDS: [(&[&str], &str, &str); 8] = [
    (&["/help"], "", "lists these commands"),
    (&["/exit", "/bye", "/quit"], "", "ends the conversation, as Ctrl-D does"),
    (&["/clear"], "", "forgets the conversation, but not the system message"),
    (&["/undo"], "", "forgets the last message and the reply to it"),
    (&["/regen"], "", "replies again to the last message"),
    (&["/system"], "[TEXT]", "sets the system message; without a text, shows it"),
    (&["/save"], "FILE", "writes the conversation to a new file"),
    (&["/load"], "FILE", "goes on with the conversation of a file"),
];

/// How messages of several lines are typed, and those that begin with a slash.
const MESSAGES: [(&str, &str); 3] = [
    ("\\", "at the end of a line, or Alt-Enter: the message goes on in the next line"),
    ("\"\"\"", "before and after a message of several lines"),
    ("//", "at the beginning of a message stands for one slash"),
];

impl Input {
    /// Reads a line, or the several lines of a message.
    pub fn of(text: &str) -> Input {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Input::Nothing;
        }
        if trimmed.starts_with("//") {
            return Input::Message(text.trim_start()[1..].to_string());
        }
        let (word, value) = trimmed.split_once(char::is_whitespace).unwrap_or((trimmed, ""));
        // A path is a message: `/etc/hosts: what is that?`
        let is_command = word.strip_prefix('/').is_some_and(|name| name.bytes().all(|b| b.is_ascii_alphabetic()));
        if !is_command {
            return Input::Message(super::lines::without_quotes(text).to_string());
        }
        let value = value.trim();
        let found = COMMANDS.iter().find(|(names, ..)| names.contains(&word));
        let Some((names, takes, _)) = found else {
            return Input::Wrong(format!(
                "{word} is no command, and was not sent: /help lists them, //... sends a slash"
            ));
        };
        match (value.is_empty(), *takes) {
            (false, "") => return Input::Wrong(format!("{word} takes no value")),
            (true, "FILE") => return Input::Wrong(format!("{word} takes a file: {word} FILE")),
            _ => {}
        }
        let file = || PathBuf::from(value);
        Input::Command(match names[0] {
            "/help" => Command::Help,
            "/exit" => Command::Exit,
            "/clear" => Command::Clear,
            "/undo" => Command::Undo,
            "/regen" => Command::Regenerate,
            "/system" => Command::System(Some(value).filter(|value| !value.is_empty()).map(str::to_string)),
            "/save" => Command::Save(file()),
            _ => Command::Load(file()),
        })
    }
}

/// The commands in lines, as `/help` prints them.
pub fn help() -> String {
    let commands = COMMANDS.map(|(names, value, what)| (format!("{} {value}", names.join(", ")), what));
    let messages = MESSAGES.map(|(sign, what)| (sign.to_string(), what));
    let line = |(name, what): (String, &str)| format!("{:<20} {what}\n", name.trim());
    commands.into_iter().chain(messages).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_commands_or_messages() {
        let message = |text: &str| Input::Message(text.to_string());
        for (line, input) in [
            ("", Input::Nothing),
            ("  \t", Input::Nothing),
            ("Hello", message("Hello")),
            ("//help me", message("/help me")),
            ("/etc/hosts: what is that?", message("/etc/hosts: what is that?")),
            ("1 / 2", message("1 / 2")),
            ("\"\"\"\n/help\n\"\"\"", message("/help")),
            (" /help ", Input::Command(Command::Help)),
            ("/bye", Input::Command(Command::Exit)),
            ("/system", Input::Command(Command::System(None))),
            ("/system Be brief.\nAnd kind.", Input::Command(Command::System(Some("Be brief.\nAnd kind.".to_string())))),
            ("/save a b.json", Input::Command(Command::Save(PathBuf::from("a b.json")))),
        ] {
            assert_eq!(Input::of(line), input, "{line:?}");
        }
        for (line, part) in [
            ("/regenerate", "/regenerate is no command, and was not sent"),
            ("/", "/ is no command"),
            ("/save", "/save takes a file"),
            ("/clear all", "/clear takes no value"),
        ] {
            assert!(matches!(Input::of(line), Input::Wrong(what) if what.contains(part)), "{line}");
        }
    }

    /// The first name of each command has its own meaning, none falls to the last arm.
    #[test]
    fn every_command_is_read_and_listed() {
        let help = help();
        let mut seen = vec![];
        for (names, value, what) in COMMANDS {
            let Input::Command(command) =
                Input::of(&format!("{} {}", names[0], if value == "FILE" { "x" } else { "" }))
            else {
                panic!("{} is a command", names[0]);
            };
            assert!(!seen.contains(&command), "{command:?}");
            seen.push(command);
            assert!(names.iter().all(|name| help.contains(name)) && help.contains(what), "{help}");
        }
    }
}
