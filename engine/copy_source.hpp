// What a copy copies: a flat disk, told in runs. Promises: a run says how its bytes are to be treated, so that a copy
// reads only what has content; reads are safe from several threads.
#pragma once
#include <cstdint>
#include <vector>

#include "base/result.hpp"
#include "engine/chain.hpp"
#include "engine/disk.hpp"

namespace cowvet::engine {

struct CopyRun {
  enum class Kind : std::uint8_t {
    data,
    zero,      // reads as zeros, which is known without reading
    kept,      // the target shows these bytes already
    compared,  // the target may show these bytes already: what differs is to be written
  };
  Kind kind = Kind::data;
  std::uint64_t length = 0;  // bytes; at least 1
};

class CopySource {
 public:
  CopySource() = default;
  CopySource(const CopySource&) = delete;
  CopySource& operator=(const CopySource&) = delete;
  virtual ~CopySource() = default;

  [[nodiscard]] virtual std::uint64_t size() const = 0;  // bytes
  // How the bytes from `at` on are treated; the run ends within `most` > 0 bytes. Called by one thread at a time.
  [[nodiscard]] virtual base::Result<CopyRun> run(std::uint64_t at, std::uint64_t most) = 0;
  [[nodiscard]] virtual base::Result<void> read(std::uint64_t at, base::MutableBytes into) const = 0;
  // When run() fails, so does reading up to the next multiple of so many bytes: a power of two.
  [[nodiscard]] virtual std::uint64_t granule() const = 0;
};

// Images with their chains, one behind the other. Errors begin with the name of the image.
class ChainSource final : public CopySource {
 public:
  // A part of an image: all of it when nothing is said. The images must outlive this.
  void append(OpenImage& image, std::uint64_t from = 0, std::uint64_t length = UINT64_MAX);
  // The target shows `below` where nothing is written: what the last image has from a layer that it shares with
  // `below` is kept; what comes from others is compared. For a source of one whole image.
  void set_reference(OpenImage& below);

  [[nodiscard]] std::uint64_t size() const override { return size_; }
  [[nodiscard]] base::Result<CopyRun> run(std::uint64_t at, std::uint64_t most) override;
  [[nodiscard]] base::Result<void> read(std::uint64_t at, base::MutableBytes into) const override;
  [[nodiscard]] std::uint64_t granule() const override { return granule_; }

 private:
  struct Part {
    OpenImage* image;
    std::uint64_t from;   // in the image
    std::uint64_t begin;  // in the source
    std::uint64_t length;
  };
  [[nodiscard]] const Part& part_at(std::uint64_t at) const;
  [[nodiscard]] base::Result<CopyRun::Kind> above_reference(const ChainExtent& found, std::uint64_t at,
                                                            std::uint64_t& length);

  std::vector<Part> parts_;
  std::uint64_t size_ = 0;
  std::uint64_t granule_ = 64 << 10;
  OpenImage* reference_ = nullptr;
  std::size_t shared_depth_ = SIZE_MAX;  // layers from here down are the reference's too
};

}  // namespace cowvet::engine
