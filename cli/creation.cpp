#include "cli/creation.hpp"

#include <algorithm>
#include <array>
#include <filesystem>

#include <fmt/format.h>

#include "base/text.hpp"
#include "cli/arguments.hpp"
#include "cli/console.hpp"
#include "cli/program.hpp"

namespace cowvet::cli {

namespace {

using base::ErrorKind;

// Names in the order of the line that tells them; a default is told even when nothing was given.
struct Word {
  std::string_view name, told;
  bool size = false;  // told in bytes
};
constexpr auto qcow2_words = std::to_array<Word>({{"encryption", ""},
                                                  {"encrypt.format", ""},
                                                  {"encrypt.key-secret", ""},
                                                  {"encrypt.cipher-alg", ""},
                                                  {"encrypt.cipher-mode", ""},
                                                  {"encrypt.ivgen-alg", ""},
                                                  {"encrypt.ivgen-hash-alg", ""},
                                                  {"encrypt.hash-alg", ""},
                                                  {"encrypt.iter-time", ""},
                                                  {"cluster_size", "65536", true},
                                                  {"extended_l2", "off"},
                                                  {"preallocation", ""},
                                                  {"compression_type", "zlib"},
                                                  {"size", "", true},
                                                  {"compat", ""},
                                                  {"backing_file", ""},
                                                  {"backing_fmt", ""},
                                                  {"data_file", ""},
                                                  {"data_file_raw", ""},
                                                  {"lazy_refcounts", "off"},
                                                  {"refcount_bits", "16"}});
constexpr auto raw_words = std::to_array<Word>({{"size", "", true}, {"preallocation", ""}});

std::span<const Word> words_of(bool qcow2) {
  return qcow2 ? std::span<const Word>(qcow2_words) : std::span<const Word>(raw_words);
}

}  // namespace

base::Result<void> Secrets::add(std::string_view object) {
  const auto pairs = split_options(object);
  if (pairs.empty() || pairs.front().first != "secret")
    return base::fail(ErrorKind::usage,
                      "--object takes a password: secret,id=ID,data=PASSWORD or secret,id=ID,file=FILE");
  std::string id;
  std::optional<std::string> password;
  for (const auto& [name, value] : std::span(pairs).subspan(1)) {
    if (name == "id") {
      id = value;
    } else if (name == "data") {
      password = value;
    } else if (name == "file") {
      const auto said = read_file(value);
      if (!said)
        return base::fail(said.error().kind, fmt::format("the password's file '{}' {}", base::escape(value),
                                                         said.error().message));
      password = *said;
    } else {
      return base::fail(ErrorKind::usage, fmt::format("a secret has no option '{}': use id, data and file",
                                                      base::escape(name)));
    }
  }
  if (id.empty() || !password)
    return base::fail(ErrorKind::usage, "a secret needs an id, and data or a file");
  by_id_[id] = *password;
  return {};
}

base::Result<std::string> Secrets::find(const std::string& id) const {
  const auto found = by_id_.find(id);
  if (found != by_id_.end()) return found->second;
  return base::fail(ErrorKind::usage,
                    fmt::format("there is no secret '{0}': give one with --object secret,id={0},file=FILE",
                                base::escape(id)));
}

std::optional<std::string> Secrets::only() const {
  return by_id_.size() == 1 ? std::optional(by_id_.begin()->second) : std::nullopt;
}

base::Result<void> CreationWords::add(std::string_view list) {
  const auto known = words_of(qcow2_);
  for (auto& [name, value] : split_options(list)) {
    if (std::ranges::find(known, name, &Word::name) == known.end()) {
      std::vector<std::string_view> names;
      for (const auto& word : known) names.push_back(word.name);
      const auto meant = nearest(name, names);
      return base::fail(
          ErrorKind::usage,
          worded(fmt::format("{} images have no option '{}'{}", qcow2_ ? "qcow2" : "raw", base::escape(name),
                             meant.empty() ? ": see the manual" : fmt::format(": did you mean '{}'?", meant)),
                 fmt::format("Invalid parameter '{}'", base::escape(name))));
    }
    given_[name] = value;
  }
  return {};
}

std::optional<std::string> CreationWords::get(const std::string& name) const {
  const auto found = given_.find(name);
  return found == given_.end() ? std::nullopt : std::optional(found->second);
}

base::Result<engine::CreateOptions> CreationWords::options(const Secrets& secrets) const {
  using engine::Preallocation;
  using format::Compression;
  using format::CryptMethod;
  engine::CreateOptions o;
  engine::EncryptOptions encrypt;
  bool old_encryption = false;
  std::optional<std::string> secret;
  OptionReader reader(given_);
  reader.size("size", o.size);
  reader.size("cluster_size", o.cluster_size);
  reader.number("refcount_bits", o.refcount_bits);
  reader.flag("lazy_refcounts", o.lazy_refcounts);
  reader.flag("extended_l2", o.extended_l2);
  reader.flag("data_file_raw", o.data_file_raw);
  reader.text("data_file", o.data_file);
  reader.text("backing_file", o.backing_file);
  reader.text("backing_fmt", o.backing_format);
  reader.choice("compat", o.version, {{"0.10", 2U}, {"v2", 2U}, {"1.1", 3U}, {"v3", 3U}});
  reader.choice("compression_type", o.compression,
                {{"zlib", Compression::deflate}, {"zstd", Compression::zstd}});
  reader.choice("preallocation", o.preallocation,
                {{"off", Preallocation::off},
                 {"metadata", Preallocation::metadata},
                 {"falloc", Preallocation::falloc},
                 {"full", Preallocation::full}});
  encrypt.method = CryptMethod::none;
  reader.flag("encryption", old_encryption);
  if (old_encryption) encrypt.method = CryptMethod::aes;
  reader.choice("encrypt.format", encrypt.method, {{"aes", CryptMethod::aes}, {"luks", CryptMethod::luks}});
  reader.text("encrypt.key-secret", secret);
  reader.text("encrypt.cipher-alg", encrypt.cipher);
  reader.text("encrypt.cipher-mode", encrypt.mode);
  reader.text("encrypt.ivgen-alg", encrypt.ivgen);
  reader.text("encrypt.ivgen-hash-alg", encrypt.ivgen_hash);
  reader.text("encrypt.hash-alg", encrypt.hash);
  reader.number("encrypt.iter-time", encrypt.iter_time_ms);
  if (reader.error()) return std::unexpected(*reader.error());
  if (encrypt.method == CryptMethod::none) return o;
  if (!secret)
    return base::fail(ErrorKind::usage,
                      "an encrypted image needs a password: give --object secret,id=ID,file=FILE and "
                      "encrypt.key-secret=ID");
  auto password = secrets.find(*secret);
  if (!password) return std::unexpected(password.error());
  encrypt.secret = std::move(*password);
  o.encrypt = std::move(encrypt);
  return o;
}

std::string CreationWords::text() const {
  std::string line;
  for (const auto& word : words_of(qcow2_)) {
    std::string value = get(std::string(word.name)).value_or(std::string(word.told));
    if (value.empty() && word.told.empty() && !given_.contains(std::string(word.name))) continue;
    if (const auto bytes = word.size ? parse_size(value) : std::nullopt) value = std::to_string(*bytes);
    for (std::size_t at = 0; (at = value.find(',', at)) != std::string::npos; at += 2) value.insert(at, ",");
    line += fmt::format("{}{}={}", line.empty() ? "" : " ", word.name, base::escape(value));
  }
  return line;
}

}  // namespace cowvet::cli
