// Finds the verb that is meant and runs it; help and version of the program itself, whichever it is called as.
#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "base/text.hpp"
#include "base/version.hpp"
#include "cli/arguments.hpp"
#include "cli/program.hpp"
#include "cli/verbs.hpp"

namespace cowvet::cli {

namespace {

// The verbs that qemu-img has.
constexpr auto peers_verbs = std::to_array<std::string_view>(
    {"amend", "bench", "bitmap", "check", "commit", "compare", "convert", "create", "dd", "info", "map",
     "measure", "rebase", "resize", "snapshot"});
// The version whose options and words are meant.
constexpr std::string_view peers_version = "7.2.22";

bool offered(const Verb& verb) {
  return !stands_in() || std::ranges::find(peers_verbs, verb.name) != peers_verbs.end();
}

std::string version() {
  const auto name = name_of(called_as());
  return stands_in() ? fmt::format("{} version {} (cowvet {})\n", name, peers_version, base::version)
                     : fmt::format("{} {}\n", name, base::version);
}

std::string help() {
  const auto name = name_of(called_as());
  std::string text =
      stands_in()
          ? version() + "usage: qemu-img [standard options] command [command options]\n\n"
          : fmt::format(
                "cowvet: the vet for copy-on-write disk images (qcow2). A verb that changes an image that "
                "exists says so in its help.\n\n"
                "Usage: cowvet VERB [OPTION]... [IMAGE]...\n\n");
  for (const auto& verb : verbs)
    if (offered(verb)) text += fmt::format("  {:<10} {}\n", verb.name, verb.summary);
  text += fmt::format(
      "\nOptions:\n"
      "  -h, --help     Show this help and end\n"
      "  -V, --version  Show the version and end\n\n"
      "Examples:\n"
      "  {0} check disk.qcow2           # is it sound? exit code 0 yes, 2 damaged, 3 leaks only\n"
      "  {0} check --help               # all options of a verb\n",
      name);
  if (stands_in()) text += "\nSupported formats: qcow2 raw\n";
  return text;
}

Exit unknown(std::string_view word, Console& console) {
  if (stands_in()) {
    console.complain(fmt::format(
        "{}\nTry 'qemu-img --help' for more information",
        word.empty() ? "Not enough arguments" : fmt::format("Command not found: {}", base::escape(word))));
    return Exit::failed;
  }
  std::string wrong = "no verb given";
  if (!word.empty()) {
    std::array<std::string_view, std::size(verbs)> names;
    std::ranges::transform(verbs, names.begin(), &Verb::name);
    const auto meant = nearest(word, names);
    wrong = fmt::format("there is no {} '{}'", word.front() == '-' ? "option" : "verb", base::escape(word));
    if (!meant.empty()) wrong += fmt::format("; did you mean '{}'?", meant);
  }
  console.complain(wrong + ": see 'cowvet --help'");
  return Exit::failed;
}

}  // namespace

Exit run(std::span<char* const> arguments, Console& console) {
  const std::string_view word = arguments.empty() ? "" : arguments.front();
  if (word == "--version" || word == "-V") {
    console.print(version());
    return Exit::success;
  }
  if (called_as() == Program::qemu_io) return io(arguments, console);
  const auto find = [](std::string_view name) {
    return std::ranges::find_if(verbs, [&](const Verb& v) { return v.name == name && offered(v); });
  };
  if (word == "help" && arguments.size() > 1) {  // of a verb
    if (const auto verb = find(arguments[1]); verb != std::end(verbs)) {
      std::string option = "--help";
      char* const asked[] = {option.data()};
      return verb->run(std::span<char* const>(asked), console);
    }
    return unknown(arguments[1], console);
  }
  if (word == "--help" || word == "-h" || word == "help") {
    console.print(help());
    return Exit::success;
  }
  const auto verb = find(word);
  return verb != std::end(verbs) ? verb->run(arguments.subspan(1), console) : unknown(word, console);
}

}  // namespace cowvet::cli
