#include "corpus/builder/cases.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace cowvet::corpus {

std::string corpus_directory() { return COWVET_CORPUS_DIR; }

std::vector<Case> list_cases(const std::string& directory, const std::string& filter,
                             const std::string& ending) {
  std::vector<Case> list;
  std::error_code error;
  for (std::filesystem::recursive_directory_iterator it{directory, error}, end; it != end;
       it.increment(error)) {
    const auto& file = it->path();
    if (file.extension() != ending) continue;
    const auto inside = file.lexically_relative(directory).replace_extension();
    Case c{file.string(), inside.generic_string(), file.stem().string(),
           inside.parent_path().generic_string()};
    if (c.rule == "good") c.rule.clear();
    if (c.path.find(filter) != std::string::npos) list.push_back(std::move(c));
  }
  std::ranges::sort(list, {}, &Case::path);
  return list;
}

namespace {

base::Result<std::string> text_of(const Case& c) {
  std::ifstream in(c.file, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  if (!in.good() && !in.eof()) return base::fail(base::ErrorKind::io, "can't read " + c.file);
  return text;
}

}  // namespace

base::Result<BuiltImage> build_case(const Case& c) {
  const auto text = text_of(c);
  if (!text) return std::unexpected(text.error());
  return build(*text, c.path + ".recipe");
}

base::Result<BuiltSet> build_set_case(const Case& c) {
  const auto text = text_of(c);
  if (!text) return std::unexpected(text.error());
  return build_set(*text, c.path + set_ending);
}

}  // namespace cowvet::corpus
