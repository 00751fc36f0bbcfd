#include "corpus/builder/set.hpp"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <system_error>

#include <sys/stat.h>

#include <fmt/format.h>

#include "corpus/builder/scanner.hpp"

namespace cowvet::corpus {
namespace {

namespace fs = std::filesystem;

// A line of the part above the first file.
void read_statement(std::string_view text, BuiltSet& set) {
  Scanner line(text);
  if (line.at_end()) return;
  const auto verb = line.word("a statement");
  const auto all = [&](std::vector<std::string>& list) {
    while (!line.at_end()) list.push_back(line.text());
  };
  if (verb == "raw") {
    auto name = line.text();
    set.raw.emplace_back(std::move(name),
                         line.bytes_follow() ? line.bytes() : std::vector<std::byte>(line.number()));
  } else if (verb == "folder") {
    all(set.folders);
  } else if (verb == "pipe") {
    all(set.pipes);
  } else if (verb == "link") {
    auto name = line.text();
    line.expect("to");
    set.links.emplace_back(std::move(name), line.text());
  } else if (verb == "modified") {
    auto name = line.text();
    const bool later = line.accept("later");
    if (!later) line.expect("earlier");
    const auto seconds = static_cast<std::int64_t>(line.number());
    set.modified.emplace_back(std::move(name), later ? seconds : -seconds);
  } else if (verb == "locked") {
    all(set.locked);
  } else if (verb == "give") {
    all(set.given);
  } else if (verb == "libvirt") {
    all(set.libvirt);
  } else if (verb == "options") {
    read_options(line, verb,
                 {{"follow_json", {}, &set.follow_json},
                  {"recursive", {}, &set.recursive},
                  {"deepest", [&](Scanner& l) { set.deepest = l.number(); }}});
  } else if (verb == "expect") {
    auto rule = line.rule();
    line.expect("on");
    set.expected.push_back({std::move(rule), line.text()});
  } else {
    throw Complaint{
        fmt::format("'{}' is none of raw, folder, pipe, link, modified, locked, give, "
                    "libvirt, options, expect, text and file",
                    verb)};
  }
  line.expect_end();
}

}  // namespace

base::Result<BuiltSet> build_set(std::string_view text, std::string_view name) {
  BuiltSet set;
  std::uint32_t number = 0;
  std::string content, file;
  std::uint32_t begin = 0;
  bool is_text = false;
  const auto finish_file = [&]() -> base::Result<void> {
    if (file.empty()) return {};
    if (is_text) {
      const auto bytes = std::as_bytes(std::span(content));
      set.raw.emplace_back(file, std::vector<std::byte>(bytes.begin(), bytes.end()));
    } else {
      // Empty lines in front, so that errors name the line in the set.
      auto image = build(std::string(begin, '\n') + content, name);
      if (!image) return std::unexpected(std::move(image.error()));
      set.files.push_back({file, std::move(*image)});
    }
    content.clear();
    return {};
  };
  try {
    while (!text.empty()) {
      ++number;
      const std::string_view line = text.substr(0, text.find('\n'));
      text.remove_prefix(std::min(line.size() + 1, text.size()));
      const bool begins_text = line.starts_with("text ");
      if (begins_text || line.starts_with("file ")) {
        if (auto finished = finish_file(); !finished) return std::unexpected(std::move(finished.error()));
        Scanner rest(line.substr(5));
        file = rest.text();
        rest.expect_end();
        begin = number;
        is_text = begins_text;
      } else if (!file.empty()) {
        content += line;
        content += '\n';
      } else if (line.starts_with('#')) {
        const auto words = line.substr(std::min(line.find_first_not_of("# "), line.size()));
        set.title += fmt::format("{}{}", set.title.empty() ? "" : " ", words);
      } else {
        read_statement(line, set);
      }
    }
  } catch (const Complaint& complaint) {
    return base::fail(base::ErrorKind::usage, fmt::format("{}:{}: {}", name, number, complaint.message));
  }
  if (auto finished = finish_file(); !finished) return std::unexpected(std::move(finished.error()));
  return set;
}

base::Result<void> save_set(const BuiltSet& set, const std::string& folder) {
  const auto in = [&](const std::string& name) { return (fs::path(folder) / name).string(); };
  const auto failed = [](const std::string& what) {
    return base::fail(base::ErrorKind::io, fmt::format("{} can't be made", what));
  };
  // All files are of one time, before any was made (the kernel stamps files with a coarse clock): the order
  // in which they are written must not tell anything.
  const auto begun = fs::file_time_type::clock::now() - std::chrono::seconds(1);
  std::error_code error;
  for (const auto& name : set.folders)
    if (fs::create_directories(in(name), error); error) return failed(name);
  for (const auto& [name, content] : set.raw) {
    std::ofstream out(in(name), std::ios::binary);
    for (const auto byte : content) out.put(static_cast<char>(byte));
    if (!out.flush()) return failed(name);
  }
  for (const auto& name : set.pipes)
    if (::mkfifo(in(name).c_str(), 0600) != 0) return failed(name);
  for (const auto& file : set.files)
    if (auto saved = save(file.image, in(file.name)); !saved) return saved;
  for (const auto& [name, target] : set.links)
    if (fs::create_symlink(target, in(name), error); error) return failed(name);
  const auto date = [&](const std::string& name, std::int64_t seconds) {
    fs::last_write_time(in(name), begun + std::chrono::seconds(seconds), error);
    return !error;
  };
  for (const auto& [name, content] : set.raw)
    if (!date(name, 0)) return failed(name);
  for (const auto& file : set.files)
    if (!date(file.name, 0)) return failed(file.name);
  for (const auto& [name, seconds] : set.modified)
    if (!date(name, seconds)) return failed(name);
  return {};
}

}  // namespace cowvet::corpus
