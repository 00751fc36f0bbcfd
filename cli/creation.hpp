// `-o key=value,...` and `--object secret,...`: what a new image is to be, in the words of qemu-img.
// Promises: a word that is not known is refused with its name; the line that tells what is made has
// qemu-img's words in qemu-img's order.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "cli/option_reader.hpp"
#include "engine/create.hpp"

namespace cowvet::cli {

// Passwords by id, as `--object secret,id=ID,data=PASSWORD` or `file=FILE` gives them.
class Secrets {
 public:
  [[nodiscard]] base::Result<void> add(std::string_view object);
  [[nodiscard]] base::Result<std::string> find(const std::string& id) const;
  // The password when exactly one was given.
  [[nodiscard]] std::optional<std::string> only() const;

 private:
  std::map<std::string, std::string> by_id_;
};

class CreationWords {
 public:
  // Those of qcow2, or of raw: size and preallocation.
  explicit CreationWords(bool qcow2) : qcow2_(qcow2) {}
  [[nodiscard]] bool qcow2() const { return qcow2_; }
  [[nodiscard]] base::Result<void> add(std::string_view list);
  void set(const std::string& name, std::string value) { given_[name] = std::move(value); }
  [[nodiscard]] std::optional<std::string> get(const std::string& name) const;
  [[nodiscard]] base::Result<engine::CreateOptions> options(const Secrets& secrets) const;
  // "cluster_size=65536 extended_l2=off ...": what was given, and what is told though it was not.
  [[nodiscard]] std::string text() const;

 private:
  bool qcow2_;
  OptionWords given_;
};

}  // namespace cowvet::cli
