// An open image: its file, its header, and what reading needs. The parts of the engine share one of these.
// Promises: it opened without guessing; opened for reading it changes nothing.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "engine/header_area.hpp"
#include "engine/layer_reader.hpp"
#include "engine/medium.hpp"
#include "engine/qcow2_disk.hpp"
#include "engine/snapshot_table.hpp"
#include "engine/table_cache.hpp"

namespace cowvet::engine {

class Image {
 public:
  [[nodiscard]] static base::Result<std::unique_ptr<Image>> open(storage::Device& device,
                                                                 const OpenOptions& options);

  [[nodiscard]] const format::Header& fields() const { return header.header(); }
  [[nodiscard]] const format::Geometry& geometry() const { return rules.geometry; }
  [[nodiscard]] std::uint64_t size() const { return fields().v2.size; }
  // Where data clusters lie; null when that file was not given.
  [[nodiscard]] Medium* data_medium() { return rules.data_file ? (data ? &*data : nullptr) : &file; }
  // Whether unallocated clusters may show something else than zeros.
  [[nodiscard]] bool names_backing() const {
    return header.backing_name().has_value() || reading.backing != nullptr;
  }
  // Guest bytes from here on are VM state.
  [[nodiscard]] std::uint64_t vm_state_begin() const {
    return geometry().l1_entries(size()) * geometry().span();
  }

  Medium file;
  std::optional<Medium> data;  // the external data file
  HeaderArea header;
  SlotRules rules;
  TableCache tables;
  std::vector<std::uint64_t> l1;  // the active one
  std::vector<format::Snapshot> snapshots;
  std::uint64_t snapshot_bytes = 0;           // of their table
  std::optional<base::Error> snapshot_fault;  // why they can't be read, and the image not be written
  StreamCache streams;
  ReadContext reading;
  LayerReader active;

 private:
  Image(storage::Device& device, HeaderArea area, const OpenOptions& options);
};

}  // namespace cowvet::engine
