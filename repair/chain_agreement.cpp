#include "repair/chain_agreement.hpp"

#include "repair/guest_survey.hpp"

namespace cowvet::repair {

namespace {

constexpr std::uint64_t most_checks = 1U << 16;

class ChainGuest final : public GuestReader {
 public:
  explicit ChainGuest(engine::OpenImage& top) : disk_(top.disk()) {}
  [[nodiscard]] std::uint64_t size() const override { return disk_.size(); }
  [[nodiscard]] std::uint64_t unit() const override { return 1ULL << 21; }
  [[nodiscard]] bool read(std::uint64_t offset, base::MutableBytes into) const override {
    return offset <= size() && into.size() <= size() - offset &&
           disk_.read(base::GuestOffset{offset}, into).has_value();
  }

 private:
  engine::Disk& disk_;
};

struct Owners {
  bool above = false, below = false;
};
Owners owners_of(engine::Disk& top, std::uint64_t begin, std::uint64_t end) {
  Owners owners;
  while (begin < end) {
    const auto extent = top.extent(base::GuestOffset{begin}, end - begin);
    if (!extent) break;
    (extent->allocated ? owners.above : owners.below) = true;
    begin += extent->length;
  }
  return owners;
}

}  // namespace

base::Result<Agreement> agreement_of(engine::OpenImage& top, base::Progress& progress) {
  const ChainGuest guest(top);
  Expectations expected({{0, guest.size()}});
  survey_guest(guest, expected);
  Agreement agreement;
  std::uint64_t checks = 0, looked = 0;
  expected.for_each_check([&](const Area&, const PlaceProof&) { ++checks; });
  const std::uint64_t step = checks / most_checks + 1;
  std::vector<std::byte> bytes;
  expected.for_each_check([&](const Area& area, const PlaceProof& proof) {
    if (looked++ % step != 0 || progress.stop_requested()) return;
    bytes.resize(static_cast<std::size_t>(area.end - area.begin));
    if (!guest.read(area.begin, bytes)) return;
    if (area.kind == Area::Kind::tried && base::all_zero(bytes)) return;
    if (!proof.holds(bytes)) {
      ++agreement.refuted;
      return;
    }
    const auto owners = owners_of(top.disk(), area.begin, area.end);
    ++(owners.above && owners.below ? agreement.across : owners.above ? agreement.above : agreement.below);
  });
  if (progress.stop_requested()) return base::fail(base::ErrorKind::cancelled, "stopped");
  return agreement;
}

}  // namespace cowvet::repair
