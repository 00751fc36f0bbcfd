// Names for places of the mapping, as findings use them: "l1[3].l2[17]", "snapshot[1].l1[3]", and the guest ranges that
// all layers see there. One place, so that every check names the same thing the same way.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "analyzer/image.hpp"
#include "analyzer/walk.hpp"
#include "findings/finding.hpp"

namespace cowvet::analyzer {

class Naming {
 public:
  Naming(const Image& image, const std::vector<Tree>& trees) : image_(image), trees_(trees) {}

  [[nodiscard]] std::string l1_table(const Tree& tree) const;
  [[nodiscard]] std::string l1_entry(const Tree& tree, std::uint64_t index) const;
  // The path through the first layer that has it (the active one, if it does).
  [[nodiscard]] std::string l2_table(const Group& group, const TableUse& use) const;
  [[nodiscard]] std::string l2_entry(const Group& group, const TableUse& use, std::uint32_t entry) const;
  // The internal snapshot's id, "" for the active layer.
  [[nodiscard]] std::string layer(const Tree& tree) const;
  // A guest range in every layer that uses the table, as far as the disk goes; of very many layers the first few.
  void put_guest(findings::Finding& finding, const TableUse& use, base::GuestOffset begin,
                 std::uint64_t length) const;
  void put_guest(findings::Finding& finding, const Tree& tree, base::GuestOffset begin,
                 std::uint64_t length) const;

 private:
  const Image& image_;
  const std::vector<Tree>& trees_;
};

}  // namespace cowvet::analyzer
